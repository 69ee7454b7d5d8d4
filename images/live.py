"""The health check of the serving images: does the server answer its live route?"""

import os
import sys
import urllib.request

port = os.environ.get("VERIFRAME_SERVING_PORT", "8080")
try:
    urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/live", timeout=4).close()
except OSError as error:
    sys.exit(f"not live: {error}")
