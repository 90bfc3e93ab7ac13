// A client that keeps a copy of a mailbox: what it learns by CONDSTORE and QRESYNC must be what is there.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
const { ImapFlow } = createRequire(process.argv[2] + "/")("imapflow");
const [, , , address, user, pass] = process.argv;
const at = address.lastIndexOf(":");
const wire = [];
const open = async (more) => {
  const c = new ImapFlow({
    host: address.slice(0, at), port: Number(address.slice(at + 1)), secure: true, auth: { user, pass },
    tls: { rejectUnauthorized: false }, qresync: true, logRaw: false, clientInfo: { name: "interop" }, ...more,
    logger: { trace() {}, info() {}, error: console.error, warn: console.error, debug: (o) => o.src && wire.push(o.msg) },
  });
  c.seen = [];
  for (const event of ["exists", "expunge", "flags"]) c.on(event, (e) => c.seen.push({ event, ...e }));
  await c.connect();
  return c;
};
const until = async (c, event, n) => {
  while (c.seen.filter((e) => e.event === event).length < n) await new Promise((done) => c.once(event, done));
};
const letter = (n) => `From: Zoë <zoe@example.org>\r\nTo: ${user}\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_${n}?=\r\nMessage-ID: <${n}@x>\r\n\r\nnumber ${n}\r\n`;

const a = await open();
for (const cap of ["CONDSTORE", "QRESYNC", "OBJECTID", "MOVE", "ESEARCH", "QUOTA", "PREVIEW", "SAVEDATE"]) assert(a.capabilities.has(cap), cap);
for (const cap of ["CONDSTORE", "QRESYNC"]) assert(a.enabled.has(cap), cap);
await a.mailboxCreate("Work");
await a.mailboxOpen("Work");
for (let n = 1; n <= 10; n++) {
  const r = await a.append("Work", letter(n), n % 2 ? ["\\Seen"] : [], new Date("2026-01-02T03:04:05Z"));
  assert.equal(r.uid, n);
}
assert.equal(a.mailbox.exists, 10);
assert(a.mailbox.mailboxId);
const before = { uidValidity: a.mailbox.uidValidity, modseq: (await a.status("Work", { highestModseq: true, messages: true, unseen: true, uidNext: true })).highestModseq };
assert(before.modseq > 0n);
const known = await a.fetchAll("1:*", { uid: true, flags: true, envelope: true, bodyStructure: true, threadId: true, size: true, internalDate: true });
assert.equal(known.length, 10);
assert.equal(known[0].envelope.subject, "Grüße 1");
assert(known[0].emailId && known[0].threadId && known[0].modseq);
assert.equal(new Set(known.map((m) => m.emailId)).size, 10);

// Another session changes it.
const b = await open();
await b.mailboxOpen("Work");
assert(await b.messageFlagsAdd("2,4", ["\\Flagged", "$Important"], { uid: true }));
assert(await b.messageDelete("5,6", { uid: true }));
const moved = await b.messageMove("7", "INBOX", { uid: true });
assert.equal(moved.uidMap.get(7) > 0, true);
await b.append("Work", letter(11), []);
// The first hears of all that.
await a.noop();
await until(a, "expunge", 3);
await until(a, "flags", 2);
assert.deepEqual(a.seen.filter((e) => e.event === "expunge").map((e) => [e.uid, e.vanished]).sort(), [[5, true], [6, true], [7, true]]);
assert.equal(a.mailbox.exists, 8);
const changed = await a.fetchAll("1:*", { uid: true, flags: true }, { changedSince: before.modseq, uid: true });
assert.deepEqual(changed.map((m) => m.uid).sort((x, y) => x - y), [2, 4, 11]);
assert(changed.find((m) => m.uid === 2).flags.has("$Important"));
// What changed meanwhile is not overwritten.
await a.messageFlagsRemove("2", ["\\Flagged"], { uid: true, unchangedSince: before.modseq });
assert((await a.fetchOne("2", { flags: true }, { uid: true })).flags.has("\\Flagged"));
// IDLE.
const heard = a.seen.filter((e) => e.event === "exists").length;
const idle = a.idle();
await b.append("Work", letter(12), []);
await until(a, "exists", heard + 1);
await a.noop();
await idle;
// A third was away since before.
const c = await open();
const select = wire.length;
await c.mailboxOpen("Work", { changedSince: before.modseq, uidValidity: before.uidValidity });
await until(c, "expunge", 3);
assert.deepEqual(c.seen.filter((e) => e.event === "expunge").map((e) => e.uid).sort(), [5, 6, 7]);
assert.deepEqual([...new Set(c.seen.filter((e) => e.event === "flags").map((e) => e.uid))].sort((x, y) => x - y), [2, 4, 11, 12]);
assert.deepEqual(await c.search({ subject: "grüße 1" }, { uid: true }), [1, 10, 11, 12]);
assert.deepEqual(await c.search({ emailId: known[2].emailId }, { uid: true }), [3]);
assert.deepEqual(await c.search({ modseq: before.modseq + 1n }, { uid: true }), [2, 4, 11, 12]);
const quota = await c.getQuota("INBOX");
assert(quota, "quota");
for (const s of [a, b, c]) await s.logout();
console.log("done");
