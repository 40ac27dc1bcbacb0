"""The Deployment controller (D1-D17): wishes, revisions, sizes, conditions, and the controller that joins them."""
