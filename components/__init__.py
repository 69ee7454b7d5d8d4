"""One folder a pipeline step: ``component.py`` declares it to KFP, the files beside it do the work.

``exchange.py`` is what a declaration calls: it takes the paths that KFP hands over, and leaves what later steps need.
"""
