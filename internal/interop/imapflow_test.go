package interop

import (
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// TestImapflow keeps a mailbox in step by CONDSTORE and QRESYNC.
func TestImapflow(t *testing.T) {
	modules := peers.NodeModules(t)
	o := office(t)
	out := peers.Command{Name: "node", Args: []string{"testdata/imapflow.mjs", modules, o.IMAPS, ann, password}}.MustRun(t)
	if out != "done\n" {
		t.Error(out)
	}
}
