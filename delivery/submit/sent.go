package submit

import (
	"context"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// file keeps a copy for the Submitter, once for each envelope.
func (t *Transport) file(ctx context.Context, env *mailkeel.Envelope, m edited) error {
	a, err := blob.AdoptStaged(ctx, t.Sent.Blobs, m.sent)
	if err != nil {
		return err
	}
	cold, err := t.Sent.ParseFrom(ctx, a.Open)
	if err != nil {
		return err
	}
	out, err := t.Sent.Deliver(ctx, store.Delivery{
		Key: env.ID + ".sent", Blob: a.Info, Wait: a.Wait, Cold: cold,
		Targets: []store.Target{{Account: env.Submitter, Role: "sent", Flags: []string{`\Seen`}, Prefix: a.Prefix}},
	})
	if err == nil {
		err = out[0].Err
	}
	return err
}
