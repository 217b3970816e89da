"""HL7 v2: messages come in over MLLP or HTTP and are acknowledged; results go out as ORU^R01 or to a webhook.

A message is acknowledged when what came of it is in the database, so that no message has to be kept until it is read:
who has no acknowledgement sends it again, and who has one for what it sends again gets the same one, nothing more.
"""
