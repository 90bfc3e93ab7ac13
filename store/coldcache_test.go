package store

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/message"
)

// parsed returns rows of messages from first to before behind.
func parsedRows(account AccountID, first, behind MessageID, preview int) (ms []Parsed) {
	for id := first; id < behind; id++ {
		env := message.EncodeEnvelope(&message.Envelope{Subject: fmt.Sprint("message ", id)}, nil)
		p := Parsed{Message: Message{ID: id, Account: account, Received: time.UnixMilli(int64(id)).UTC(), Blob: "b", Size: 10}}
		p.Cold = Cold{Account: account, ID: id, Prefix: []byte("P: 1\r\n"), Envelope: env, Structure: []byte{2, byte(id)}, Preview: bytes.Repeat([]byte("p"), preview)}
		p.Cold.seal(&p.Message)
		ms = append(ms, p)
	}
	return ms
}

// recalled asks for rows, and returns which are remembered.
func recalled(t *testing.T, s *Store, want []Parsed) (ids []MessageID) {
	t.Helper()
	ms := make([]Parsed, len(want))
	for i := range ms {
		ms[i] = Parsed{Message: want[i].Message, Err: errNoCold}
	}
	var into Rows
	s.recall(ms, &into)
	for i := range ms {
		if ms[i].Err != nil {
			if ms[i].Err != errNoCold || ms[i].Cold.ID != 0 {
				t.Errorf("%d: %+v", i, ms[i])
			}
			continue
		}
		if !reflect.DeepEqual(ms[i].Cold, want[i].Cold) {
			t.Errorf("%+v, want %+v", ms[i].Cold, want[i].Cold)
		}
		ids = append(ids, ms[i].ID)
	}
	// What was given is the caller's own.
	clear(into.bytes)
	return ids
}

func TestColdRowsAreRemembered(t *testing.T) {
	s := new(Store)
	ms := parsedRows("ann", 1, 100, 200)
	for range 3 { // also if they are there
		s.remember(ms)
		if got := recalled(t, s, ms); len(got) != len(ms) {
			t.Fatalf("%d of %d are remembered", len(got), len(ms))
		}
	}
	if n := len(s.cold.pieces); n != 1 || len(s.cold.pieces[0].b) > 99*400 {
		t.Errorf("%d pieces, %d bytes in the first", n, len(s.cold.pieces[0].b))
	}
	if got := recalled(t, s, parsedRows("bob", 1, 100, 200)); got != nil {
		t.Errorf("another account is given %d", got)
	}
	ms[7].Size++
	if got := recalled(t, s, ms[7:8]); got != nil {
		t.Error("a row is given that does not belong to the message")
	}
}

func TestColdRowsThatMayChangeAreNotRemembered(t *testing.T) {
	s := new(Store)
	ms := parsedRows("ann", 1, 6, 10)
	ms[0].Err = ErrDamaged
	ms[1].Cold.Envelope = nil // not parsed
	ms[2].Cold.Envelope = []byte{1, 2, 3}
	ms[3].Cold.Sum = 0
	ms[4].Cold.Preview = make([]byte, coldPieceSize)
	s.remember(ms)
	if got := recalled(t, s, ms); got != nil {
		t.Errorf("%d are remembered", got)
	}
	off := &Store{ColdCache: -1}
	ms = parsedRows("ann", 1, 6, 10)
	off.remember(ms)
	if got := recalled(t, off, ms); got != nil || off.cold.pieces != nil {
		t.Errorf("%d are remembered by who is not to", got)
	}
}

func TestTheOldestColdRowsAreForgotten(t *testing.T) {
	s := &Store{ColdCache: 3 * coldPieceSize}
	ms := parsedRows("ann", 1, 2000, 1000)
	for i := 0; i < len(ms); i += 50 {
		s.remember(ms[i:min(i+50, len(ms))])
		if n := len(s.cold.pieces); n > 3 {
			t.Fatalf("%d pieces", n)
		}
	}
	got := recalled(t, s, ms)
	if len(got) < 2*coldPieceSize/1200 || len(got) > 3*coldPieceSize/1000 || got[0] != ms[len(ms)-len(got)].ID || len(s.cold.at) != len(got) {
		t.Errorf("%d are remembered, %d in the map", len(got), len(s.cold.at))
	}
	for _, p := range s.cold.pieces {
		if cap(p.b) != coldPieceSize {
			t.Errorf("a piece grew to %d", cap(p.b))
		}
	}
}
