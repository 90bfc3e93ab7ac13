package store

import "testing"

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"inbox", "Inbox/a", "a//b", "a\x00", "日本/語", "/", " "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := CleanName(s)
		if err != nil {
			return
		}
		if again, err := CleanName(name); err != nil || again != name {
			t.Errorf("%q becomes %q, and then %q, %v", s, name, again, err)
		}
		if up := parent(name); up != "" {
			if _, err := CleanName(up); err != nil || !below(name, up) {
				t.Errorf("above %q is %q, %v", name, up, err)
			}
		}
	})
}
