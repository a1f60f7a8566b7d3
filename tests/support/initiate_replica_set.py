"""Makes a freshly started mongod the primary of a replica set of one: initiate_replica_set.py PORT SET"""

import sys
import time

import pymongo
from pymongo.errors import OperationFailure

ALREADY_INITIALIZED = 23

port, name = sys.argv[1:]
client = pymongo.MongoClient("127.0.0.1", int(port), directConnection=True, serverSelectionTimeoutMS=30000)
try:
    client.admin.command("replSetInitiate", {"_id": name, "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]})
except OperationFailure as error:
    if error.code != ALREADY_INITIALIZED:
        raise
deadline = time.monotonic() + 60
while not client.admin.command("hello")["isWritablePrimary"]:
    if time.monotonic() > deadline:
        sys.exit("no primary after 60 s")
    time.sleep(0.05)
