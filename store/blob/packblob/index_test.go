package packblob

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// TestIndexIsAMap does the same to an index and to a map of Go. Some of the hashes
// collide in what a sender could choose of them.
func TestIndexIsAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, reserve := range []int{0, 10, 5000} {
		var x index
		x.reserve(reserve)
		want := map[hash]place{}
		hashes := make([]hash, 1000)
		for i := range hashes {
			for j := range hashes[i] {
				hashes[i][j] = byte(rnd.Uint32())
			}
			hashes[i][0] &= 3 // few parts, so that they fill
			if i%3 == 0 {
				copy(hashes[i][:30], hashes[0][:30])
			}
		}
		kinds := []byte{kindBlob, kindLarge, kindPacked, kindPackedLarge}
		for range 8000 {
			h := hashes[rnd.IntN(len(hashes))]
			old, there := want[h]
			switch rnd.IntN(5) {
			case 0, 1:
				p := place{
					spot{rnd.Uint32(), rnd.Uint32()}, kinds[rnd.IntN(4)], rnd.Uint32N(maxBlob),
					int64(1+rnd.IntN(1<<17)) * 8, rnd.Uint32(), rnd.Int64(),
				}
				if got, replaced := x.set(h, p); replaced != there || got != old {
					t.Fatalf("set replaced %+v, %v, want %+v, %v", got, replaced, old, there)
				}
				want[h] = p
			case 2, 3:
				x.remove(h)
				delete(want, h)
			default:
				if got, ok := x.get(h); ok != there || got != old {
					t.Fatalf("get says %+v, %v, want %+v, %v", got, ok, old, there)
				}
			}
		}
		got := map[hash]place{}
		n, bytes, large := 0, int64(0), 0
		for i := range x.parts {
			for _, e := range x.parts[i].all() {
				if int(e.hash[0]) != i {
					t.Fatal("an entry is in another part")
				}
				got[e.hash] = e.place()
				n, bytes = n+1, bytes+e.place().size()
				if isLarge(e.place().kind) {
					large++
				}
			}
		}
		if !maps.Equal(got, want) || n != len(want) || x.n != n || x.bytes != bytes || x.large != large {
			t.Errorf("%d entries, %d different, want %d; counted %d, %d, %d, want %d, %d", n, len(got), len(want), x.n, x.bytes, x.large, bytes, large)
		}
	}
}

// TestIndexStepsAreFew: nobody who chooses hashes makes looking up slow.
func TestIndexStepsAreFew(t *testing.T) {
	var x index
	const n = 20_000
	for i := range n {
		h := hash{31: byte(i), 30: byte(i >> 8)} // all alike in front, and in one part
		for j := 8; j < 24; j++ {
			h[j] = byte(i >> (j % 2 * 8))
		}
		x.set(h, place{kind: kindBlob, record: 64})
	}
	steps := 0
	for i := range x.parts {
		for j := range x.parts[i].slots {
			if x.parts[i].slots[j].what != 0 {
				steps += x.parts[i].far(&x, j) + 1
			}
		}
	}
	if steps > 16*n {
		t.Errorf("%d steps to find %d", steps, n)
	}
}
