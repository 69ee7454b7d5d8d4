from tests.region_models import tiny_model, trained  # noqa: F401 - fixtures
