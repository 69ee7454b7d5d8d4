"""The inference server; it reads the bundles that the export step writes."""
