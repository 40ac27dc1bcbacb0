"""The StatefulSet controller (W1, W2, W10-W17): identity, the steps of one look, and what joins them."""
