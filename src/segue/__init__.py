"""segue: zero-downtime releases on Kubernetes, proved.

The layers, outermost first (an import contract keeps them so):
cli > host > drill > report > proof > drive | load | cluster > release > route | drain > lifecycle > ports > model.
"""

__version__ = "0.1.0"
