from tests.region_models import make_model, models  # noqa: F401 - fixtures
