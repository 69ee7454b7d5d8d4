"""Turn a folder or an S3 prefix of pictures into a sample index and shards.

Every input that is left out has its line in ``rejected.jsonl``: ``name``, ``reason`` and ``detail``. The reasons:

=====================  =================================================================================================
``bad-name``           the name is not UTF-8, holds control characters, or is no plain relative path
``unknown-extension``  not of a picture, or of a mask where masks lie
``unexpected-place``   the layout has nothing there
``bad-provenance``     a line of ``provenance.jsonl`` that cannot be understood, or whose picture is not there
``no-mask``            a picture that needs a mask has none
``ambiguous-mask``     several masks fit
``mask-without-…``     ``mask-without-picture``: a mask of no picture
``empty``              no bytes, or no regular file
``too-many-bytes``     more than ``limits.max_bytes``
``too-many-pixels``    more than ``limits.max_pixels``, by its header
``unreadable``         cannot be opened (permissions, broken links), or vanished since the listing
``not-a-picture``      no JPEG, PNG, TIFF, WebP or BMP, whatever its name says
``truncated``          ends too early
``damaged``            cannot be decoded, or only with parts missing
``unsupported-colour`` samples whose range is unknown (32-bit), or a colour space that is not supported
``crashed``            ended the process that decoded it, twice
``no-split``           not named by the file of official splits
``mask-…``             one of these of the mask; and ``mask-size`` (does not fit the picture), ``mask-type`` (neither
                       booleans nor numbers), ``mask-values``, ``mask-not-finite``, ``mask-blank`` (marks nothing though
                       the picture is forged)
=====================  =================================================================================================
"""
