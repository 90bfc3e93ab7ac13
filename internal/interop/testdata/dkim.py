# Signs and verifies messages with python3-dkim: one JSON object a line in, one out.
import base64, json, sys
import dkim

records = {}

def txt(name, timeout=5):
    return records.get(name.decode().rstrip("."), "").encode() or None

for line in sys.stdin:
    job = json.loads(line)
    if "records" in job:
        records = job["records"]
        continue
    message = base64.b64decode(job["message"])
    out = {}
    try:
        if job["do"] == "verify":
            out["good"] = [dkim.DKIM(message, minkey=1024).verify(idx=i, dnsfunc=txt) for i in range(job["signatures"])]
        else:
            sig = dkim.sign(message, job["selector"].encode(), job["domain"].encode(), job["key"].encode(),
                            canonicalize=(job["header"].encode(), job["body"].encode()), signature_algorithm=job["algorithm"].encode())
            out["message"] = base64.b64encode(sig + message).decode()
    except Exception as e:
        out["error"] = repr(e)
    print(json.dumps(out))
