// A test suite in JavaScript: nodemailer sends, the API and imapflow read.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
const require = createRequire(process.argv[2] + "/");
const nodemailer = require("nodemailer");
const { ImapFlow } = require("imapflow");
const [, , , smtp, http, imap] = process.argv;
const at = (a) => ({ host: a.slice(0, a.lastIndexOf(":")), port: Number(a.slice(a.lastIndexOf(":") + 1)) });
const api = async (path, options) => {
  const r = await fetch(`http://${http}/api/v1/${path}`, options);
  assert.equal(r.status, 200, `${path}: ${r.status} ${r.status === 200 ? "" : await r.text()}`);
  return r.headers.get("content-type").includes("json") ? r.json() : r.text();
};
const json = (body, method = "PUT") => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// Each test has an inbox of its own: the login of its transport.
await Promise.all(["red", "blue"].map(async (inbox) => {
  const transport = nodemailer.createTransport({ ...at(smtp), secure: false, auth: { user: inbox, pass: "x" } });
  await transport.sendMail({
    from: "App <app@example.net>", to: "Jörg <ann@example.test>", bcc: "boss@example.test", subject: `Willkommen, ${inbox} ☃`,
    text: "Your code is 123456", html: '<p>Your code is <b>123456</b></p><a href="https://example.test/go">go</a><img src="cid:logo" alt="">',
    attachments: [{ filename: "résumé.pdf", content: Buffer.from("%PDF") }, { filename: "logo.png", content: Buffer.from("png"), cid: "logo" }],
    headers: { "X-Tags": "first, second" },
  });
  transport.close();
  const { messages } = await api(`wait?inbox=${inbox}&query=${encodeURIComponent("subject:willkommen to:ann")}`);
  assert.equal(messages.length, 1);
  const m = await api(`message/${messages[0].ID}`);
  assert.equal(m.Subject, `Willkommen, ${inbox} ☃`);
  assert.deepEqual(m.To, [{ Name: "Jörg", Address: "ann@example.test" }]);
  assert.deepEqual(m.Bcc, [{ Name: "", Address: "boss@example.test" }]);
  assert.match(m.Text, /123456/);
  assert.equal(m.Username, inbox);
  assert.deepEqual(m.Tags, ["first", "second"]);
  assert.equal(m.Attachments[0].FileName, "résumé.pdf");
  assert.equal(m.Inline[0].ContentID, "logo");
  assert.equal(await (await fetch(`http://${http}/api/v1/message/${m.ID}/part/${m.Attachments[0].PartID}`)).text(), "%PDF");
  const c = new ImapFlow({ ...at(imap), secure: false, doSTARTTLS: false, auth: { user: inbox, pass: "any" }, logger: false });
  await c.connect();
  await c.mailboxOpen("INBOX");
  assert.equal(c.mailbox.exists, 1);
  assert.equal((await c.fetchOne("1", { envelope: true })).envelope.subject, m.Subject);
  await c.logout();
}));
assert.deepEqual(await api("inboxes"), { blue: 1, red: 1 });
// Faults.
await api("faults", { method: "PUT", body: "at RCPT to=nobody@example.test times=1 reply 550 5.1.1 no such user\n" });
const t = nodemailer.createTransport({ ...at(smtp), secure: false });
await assert.rejects(t.sendMail({ from: "a@b.example", to: "nobody@example.test", subject: "x", text: "x" }), { responseCode: 550 });
await t.sendMail({ from: "a@b.example", to: "nobody@example.test", subject: "x", text: "x" });
await api("chaos", json({ Sender: { ErrorCode: 451, Probability: 100 } }));
await assert.rejects(t.sendMail({ from: "a@b.example", to: "c@example.test", subject: "x", text: "x" }), { responseCode: 451 });
await api("chaos", json({}));
t.close();
await api("messages", { method: "DELETE" });
assert.equal((await api("messages")).total, 0);
console.log("done");
