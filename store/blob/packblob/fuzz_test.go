package packblob

import (
	"bytes"
	"testing"
)

func FuzzRecord(f *testing.F) {
	t := tag{1, 2, 3, 4, 5, 6, 7, 8}
	for _, r := range []record{
		{kind: kindBlob, first: true, length: 5, stamp: 1, sum: 2}, {kind: kindLarge, length: 12},
		{kind: kindTouch}, {kind: kindDelete, length: 8}, {kind: 9},
	} {
		b := make([]byte, headerSize)
		r.encode(b, t)
		f.Add(b)
	}
	f.Fuzz(func(tt *testing.T, b []byte) {
		r, ok := decodeRecord(b, t)
		if !ok {
			return
		}
		again := make([]byte, headerSize)
		if r.encode(again, t); !bytes.Equal(again, b[:headerSize]) {
			tt.Errorf("%x is read as %+v, which is %x", b[:headerSize], r, again)
		}
	})
}

// FuzzIndex reads a row of chunks and writes it again.
func FuzzIndex(f *testing.F) {
	n := note{kindDelete, 600, 72, spot{1, 700}.pack(), 5, hash{1}, false, false}
	c := chunk{tag: tag{1}, from: blockSize, to: 2 * blockSize, sealed: true}
	f.Add(c.encode(n.append(n.append(nil))))
	f.Add(append((&chunk{from: blockSize, to: blockSize}).encode(nil), "MKINDEX2"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for off := int64(0); ; {
			c, notes, ok, err := readChunk(bytes.NewReader(b), off, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return
			}
			var again []byte
			for at := 0; at < len(notes); at += noteSize {
				n := decodeNote(notes[at:])
				again = n.append(again)
			}
			if len(again) != len(notes) || c.count*noteSize != len(notes) {
				t.Fatalf("%d notes became %d bytes", c.count, len(again))
			}
			off += chunkHead + int64(len(notes))
		}
	})
}

// FuzzScan puts any bytes behind a good record, as a power cut or a bad disk may.
func FuzzScan(f *testing.F) {
	tg := tag{1, 2, 3, 4, 5, 6, 7, 8}
	good := func(first bool, payload string) []byte {
		r := record{kind: kindBlob, first: first, length: uint32(len(payload)), stamp: 1, sum: checksum([]byte(payload))}
		b := make([]byte, recordSize(int64(len(payload))))
		r.encode(b, tg)
		copy(b[headerSize:], payload)
		return b
	}
	f.Add([]byte("garbage"), byte(scanAll))
	f.Add(make([]byte, 5000), byte(scanTail))
	f.Add(good(false, "second"), byte(scanWhole))
	f.Add(good(false, "second")[:40], byte(scanTail))
	f.Fuzz(func(t *testing.T, b []byte, how byte) {
		file := append(make([]byte, blockSize), good(true, "first")...)
		file = append(file, b...)
		size := align(int64(len(file)), blockSize)
		file = append(file, make([]byte, size-int64(len(file)))...)
		var notes []note
		got, err := scan(bytes.NewReader(file), tg, blockSize, size, int(how%3), func(n note) { notes = append(notes, n) })
		if err != nil {
			t.Fatal(err)
		}
		if len(notes) == 0 || notes[0].kind != kindBlob || notes[0].at != blockSize/8 {
			t.Fatalf("the good record was not found: %+v", notes)
		}
		last := uint32(0)
		for _, n := range notes {
			if n.at <= last || int64(n.at)*8 >= size {
				t.Fatalf("records out of order: %+v", notes)
			}
			last = n.at
		}
		if got.end > size || got.keep < got.end || got.end%blockSize != 0 {
			t.Fatalf("%+v of %d", got, size)
		}
	})
}
