package packblob_test

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/fileblob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// BenchmarkCommit stores distinct 10 KB blobs durably, here and in a file each.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 10, 50} {
		b.Run(fmt.Sprint("pack/", writers), func(b *testing.B) {
			benchmarkCommit(b, open(b, b.TempDir(), packblob.Options{}), writers)
		})
		b.Run(fmt.Sprint("file/", writers), func(b *testing.B) {
			s, err := fileblob.Open(b.TempDir(), fileblob.Options{})
			if err != nil {
				b.Fatal(err)
			}
			benchmarkCommit(b, s, writers)
		})
	}
}

func benchmarkCommit(b *testing.B, s blob.Store, writers int) {
	body := strings.Repeat("0123456789abcde\n", 640)
	next := make(chan int, writers)
	go func() {
		for i := range b.N {
			next <- i
		}
		close(next)
	}()
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range next {
				w, err := s.Create(b.Context())
				if err == nil {
					_, err = io.WriteString(w, fmt.Sprint(i, " ", body[:10_000]))
				}
				if err == nil {
					_, err = w.Commit()
				}
				if err != nil {
					b.Error(err)
				}
				_ = w.Close()
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blobs/s")
}

// BenchmarkOpen starts a store of a million blobs.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir, packblob.Options{})
	fill(b, s, 1_000_000)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		s := open(b, dir, packblob.Options{})
		if s.Stats().Blobs != 1_000_000 {
			b.Fatal(s.Stats())
		}
		b.StopTimer()
		_ = s.Close()
		b.StartTimer()
	}
}

// BenchmarkCompress stages 10 KB blobs like text, and such that cannot be compressed,
// and counts what they take on the disk.
func BenchmarkCompress(b *testing.B) {
	for _, compress := range []bool{false, true} {
		for name, body := range map[string]func(int, int) string{"text": words, "noise": noise} {
			b.Run(fmt.Sprintf("%s/compress=%v", name, compress), func(b *testing.B) {
				s := open(b, b.TempDir(), packblob.Options{Compress: compress})
				content := body(1, 10_000)
				b.ReportAllocs()
				b.ResetTimer()
				var last blob.Stager
				for i := range b.N {
					w, err := s.Create(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					last = w.(blob.Stager)
					if _, err := fmt.Fprint(last, i, content); err != nil {
						b.Fatal(err)
					}
					if _, err := last.Stage(); err != nil {
						b.Fatal(err)
					}
					_ = last.Close()
				}
				if err := last.Wait(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(s.Stats().OnDisk)/float64(b.N), "disk-B/op")
			})
		}
	}
}

// BenchmarkList goes through a million blobs in order, as a sweep does.
func BenchmarkList(b *testing.B) {
	s := open(b, b.TempDir(), packblob.Options{})
	fill(b, s, 1_000_000)
	b.ResetTimer()
	for range b.N {
		n := 0
		for _, err := range s.List(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1_000_000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkRead reads 10 KB blobs, checked.
func BenchmarkRead(b *testing.B) {
	s := open(b, b.TempDir(), packblob.Options{})
	var refs []blob.Ref
	for i := range 200 {
		refs = append(refs, mustPut(b, s, text(i, 10_000)))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if got, err := read(s, refs[i%len(refs)]); len(got) != 10_000 || err != nil {
			b.Fatal(err)
		}
	}
}
