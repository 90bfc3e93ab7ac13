package webmail

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkPages is what one page costs, over a store in memory.
func BenchmarkPages(b *testing.B) {
	s := newStocked(b)
	for range 60 {
		s.deliver("a-ann", hello)
	}
	cookie := s.as("ann").cookies()[0]
	for name, path := range map[string]string{
		"list":    folderPath(s.inbox),
		"read":    s.path(route{path: "/mail/{folder}/{uid}"}),
		"frame":   s.path(route{path: "/mail/{folder}/{uid}/frame/{path}"}),
		"compose": "/compose",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "https://mail.example.test"+path, nil)
				r.AddCookie(cookie)
				w := httptest.NewRecorder()
				s.h.ServeHTTP(w, r)
				if w.Code != 200 || !strings.Contains(w.Body.String(), "<html") {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
