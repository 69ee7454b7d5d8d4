"""One folder a pipeline step: ``component.py`` declares it to KFP, the files beside it do the work."""
