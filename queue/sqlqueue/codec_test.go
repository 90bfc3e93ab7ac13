package sqlqueue

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store/blob"
)

func sample() queue.Item {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return queue.Item{
		Blob: blob.Info{Size: 1 << 40}, Prefix: []byte("A: 1\r\n\x00"), Queued: at, Expires: at.Add(time.Hour),
		Envelope: mailkeel.Envelope{
			ID: "id\n\x00\"", From: "änn@x", UTF8: true, RequireTLS: true, Return: "HDRS", EnvelopeID: "\xff", Submitter: "s",
			Rcpts:  []mailkeel.Recipient{{Addr: "a@b", Index: -1, Junk: true}, {Addr: "c@d", Notify: 255, Index: 1 << 30, Via: "v"}},
			Origin: &mailkeel.Origin{Addr: netip.MustParseAddrPort("[fe80::1%eth0]:25"), TLS: true, Time: at},
		},
	}
}

func TestBodyRoundTrip(t *testing.T) {
	for _, want := range []queue.Item{sample(), {}} {
		var got queue.Item
		if err := decode(encode(&want), &got); err != nil {
			t.Fatal(err)
		}
		for _, tm := range []*time.Time{&want.Queued, &want.Expires, &want.Envelope.NotBefore} {
			*tm = tm.UTC()
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestEveryChangedByteIsSeen(t *testing.T) {
	it := sample()
	body := encode(&it)
	for i := range body {
		bad := bytes.Clone(body)
		bad[i] ^= 0x10
		if err := decode(bad, new(queue.Item)); err == nil {
			t.Errorf("byte %d", i)
		}
		if err := decode(body[:i], new(queue.Item)); err == nil {
			t.Errorf("cut at %d", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	it := sample()
	f.Add(encode(&it))
	f.Add(encode(&queue.Item{}))
	f.Add([]byte{version, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 4 { // or nothing would get past the checksum
			w := writer(body[:len(body)-4])
			body = w.sum()
		}
		var it queue.Item
		if decode(body, &it) != nil {
			return
		}
		var again queue.Item
		if err := decode(encode(&it), &again); err != nil || !reflect.DeepEqual(it, again) {
			t.Errorf("%+v became %+v, %v", it, again, err)
		}
	})
}
