package packblob

import (
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/store/blob"
)

func TestNamesOfBlobs(t *testing.T) {
	want := hash{0: 0x01, 1: 0xaf, 31: 0x90}
	if h, ok := parseRef(want.ref()); !ok || h != want {
		t.Errorf("%x, %v", h, ok)
	}
	good := strings.Repeat("0a", 32)
	for _, ref := range []string{"", "sha256-", "sha256-" + good[1:], "sha256-" + good + "0", "sha1-" + good, "SHA256-" + good,
		"sha256-" + strings.ToUpper(good), "sha256-" + good[1:] + "g", "sha256-" + good[1:] + "/", "sha256-" + good[1:] + ":", "sha256-" + good[1:] + "`", "sha256-\xff" + good[1:]} {
		if h, ok := parseRef(blob.Ref(ref)); ok {
			t.Errorf("%q is %x", ref, h)
		}
	}
}
