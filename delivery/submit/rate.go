package submit

import (
	"cmp"
	"context"
	"encoding/binary"
	"time"

	"github.com/mailkeel/mailkeel"
)

const day = 24 * time.Hour

// count adds n recipients to those of an account, or refuses all of them for now if
// that is more than it may have in a day. The day begins with its first message. If
// the count cannot be had, nothing goes out: that is what a stolen password would
// wait for.
func (t *Transport) count(ctx context.Context, id mailkeel.AccountID, n int) error {
	most := cmp.Or(t.PerDay, 2000)
	if t.Rates == nil || most < 0 {
		return nil
	}
	now := t.now()
	var over error
	err := t.Rates.Update(ctx, "submit/"+string(id), day, func(old []byte) ([]byte, error) {
		over = nil
		began, had := now, 0
		if len(old) == 16 {
			was := time.Unix(int64(binary.BigEndian.Uint64(old)), 0)
			if now.Sub(was) < day {
				began, had = was, int(binary.BigEndian.Uint64(old[8:]))
			}
		}
		if had+n > most {
			over = refuse(450, [3]int{4, 7, 1}, "no more than %d recipients a day; %d are left until %s", most, max(most-had, 0), began.Add(day).UTC().Format(time.RFC3339))
			return old, nil
		}
		b := binary.BigEndian.AppendUint64(nil, uint64(began.Unix()))
		return binary.BigEndian.AppendUint64(b, uint64(had+n)), nil
	})
	return cmp.Or(err, over)
}
