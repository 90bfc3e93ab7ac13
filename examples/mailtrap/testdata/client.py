# A test suite in Python: smtplib sends, the API and imaplib read.
import email.message, imaplib, json, smtplib, sys, urllib.parse, urllib.request
smtp, http, imap = sys.argv[1:]
def at(a): h, p = a.rsplit(":", 1); return h, int(p)
def api(path, method="GET", body=None):
    r = urllib.request.Request("http://%s/api/v1/%s" % (http, path), method=method, data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(r) as f:
        text = f.read().decode()
        return json.loads(text) if "json" in f.headers["Content-Type"] else text

m = email.message.EmailMessage()
m["From"] = "app@example.net"; m["To"] = "ann@example.test"; m["Subject"] = "Smørrebrød"; m["X-Inbox"] = "python"
m.set_content("Bonjour à tous\n")
with smtplib.SMTP(*at(smtp)) as s:
    s.send_message(m)
found = api("wait?inbox=python&timeout=20s&query=" + urllib.parse.quote('subject:"Smørrebrød"'))
assert found["messages_count"] == 1 and found["unread"] == 1, found
mid = found["messages"][0]["ID"]
assert api("message/" + mid)["Text"] == "Bonjour à tous\n"
assert api("message/latest?inbox=python")["ID"] == mid
assert api("message/%s/headers" % mid)["Subject"] == ["Smørrebrød"]
api("tags", "PUT", {"IDs": [mid], "Tags": ["seen by python"]})
assert api("tags") == ["seen by python"]
assert api("search?query=" + urllib.parse.quote('tag:"seen by python" is:read'))["messages_count"] == 1
sent = api("send?inbox=python", "POST", {"From": {"Email": "a@b.example", "Name": "Ä"}, "To": [{"Email": "ann@example.test"}], "Subject": "säd", "Text": "t", "HTML": "<p>h</p>", "Tags": ["x"], "Attachments": [{"Content": "aGk=", "Filename": "a.txt"}]})
got = api("message/" + sent["ID"])
assert (got["Subject"], got["Text"], got["HTML"], got["Tags"], got["From"], got["Attachments"][0]["FileName"]) == ("säd", "t", "<p>h</p>", ["x"], {"Name": "Ä", "Address": "a@b.example"}, "a.txt"), got
c = imaplib.IMAP4(*at(imap)); c.login("python", "x"); typ, n = c.select("INBOX"); assert n == [b"2"], n; c.logout()
api("search?query=subject:s%C3%A4d", "DELETE")
assert api("messages?inbox=python")["messages_count"] == 1
try:
    api("wait?query=subject:never&timeout=50ms"); assert False
except urllib.error.HTTPError as e:
    assert e.code == 408 and "0 of 1" in json.loads(e.read())["Error"]
print("done")
