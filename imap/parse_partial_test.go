package imap

import "testing"

func TestPartialRanges(t *testing.T) {
	for _, tt := range []struct {
		in     string
		n      int
		lo, hi int
	}{
		{"1:500", 1000, 0, 500},
		{"500:1", 1000, 0, 500},
		{"501:1000", 700, 500, 700},
		{"7:9", 6, 6, 6},
		{"8:9", 6, 6, 6},
		{"6:9", 6, 5, 6},
		{"1:1", 0, 0, 0},
		{"3:3", 5, 2, 3},
		{"-1:-3", 10, 7, 10},
		{"-3:-1", 10, 7, 10},
		{"-9:-11", 10, 0, 2},
		{"-11:-12", 10, 0, 0},
		{"-1:-1", 0, 0, 0},
		{"4294967295:1", 3, 0, 3},
		{"-4294967295:-2", 3, 0, 2},
	} {
		p := &parser{line: []byte(tt.in)}
		r := p.partialRange()
		if err := p.end(); err != nil {
			t.Errorf("%s: %v", tt.in, err)
		}
		if lo, hi := r.of(tt.n); lo != tt.lo || hi != tt.hi {
			t.Errorf("%s of %d: %d up to %d, want %d up to %d", tt.in, tt.n, lo, hi, tt.lo, tt.hi)
		}
		if r.String() != tt.in {
			t.Errorf("%s became %s", tt.in, r)
		}
	}
	for _, in := range []string{"", "1", "1:", "0:1", "1:0", "1:*", "-1:1", "1:-1", "-0:-1", "--1:-2", "1:2:3", "4294967296:1"} {
		p := &parser{line: []byte(in)}
		if p.partialRange(); p.end() == nil {
			t.Errorf("%q was taken", in)
		}
	}
}
