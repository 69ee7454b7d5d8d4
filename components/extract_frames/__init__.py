"""Turn a folder or an S3 prefix of pictures or clips into a sample index and shards.

Every input that is left out has its line in ``rejected.jsonl``: ``name``, ``reason`` and ``detail``. The reasons:

=====================  =================================================================================================
``bad-name``           the name is not UTF-8, holds control characters, or is no plain relative path
``unknown-extension``  not of a picture or clip, whichever the layout holds, or of a mask where masks lie
``unexpected-place``   the layout has nothing there
``bad-provenance``     a line of ``provenance.jsonl`` that cannot be understood, or whose picture is not there
``no-mask``            a picture that needs a mask has none
``ambiguous-mask``     several masks fit
``mask-without-…``     ``mask-without-picture``: a mask of no picture
``empty``              no bytes, or no regular file
``listed-absent``      a list of the data set names it, but it is not there
``no-label``           no ``metadata.json`` says whether it is real
``bad-metadata``       ``metadata.json``, or what it says of one clip, cannot be understood
``bad-list``           a line of ``List_of_testing_videos.txt`` that cannot be understood
``label-conflict``     its folder and that list have different classes for it
``duplicate-frame``    the same frame of the same clip is there under another name
``too-many-bytes``     more than ``limits.max_bytes``, of a clip ``limits.max_clip_bytes``
``too-many-pixels``    more than ``limits.max_pixels``, by its header
``unreadable``         cannot be opened (permissions, broken links), or vanished since the listing
``not-a-picture``      no JPEG, PNG, TIFF, WebP or BMP, whatever its name says
``truncated``          ends too early
``damaged``            cannot be decoded, or only with parts missing
``unsupported-colour`` samples whose range is unknown (32-bit), or a colour space that is not supported
``crashed``            ended the process that decoded it, twice
``not-video``          the content of no container of video, whatever its name says
``no-video-stream``    sound alone, or a video stream of no known codec
``no-frames``          a clip without one
``truncated-video``    a clip whose end is missing
``damaged-video``      a clip whose header or frames cannot be decoded
``too-long``           a clip longer than ``limits.max_seconds``
``too-many-frames``    a clip of more than ``limits.max_frames``
``too-large``          frames of more than ``limits.max_pixels``
``no-face``            a clip in which none was found
``no-split``           not named by the official splits, or linked to what is in one of them
``mask-…``             one of these of the mask; and ``mask-size`` (does not fit the picture), ``mask-type`` (neither
                       booleans nor numbers), ``mask-values``, ``mask-not-finite``, ``mask-blank`` (marks nothing though
                       the picture is forged)
=====================  =================================================================================================
"""
