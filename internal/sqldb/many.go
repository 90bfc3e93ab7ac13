package sqldb

import "strings"

// sizes are how many rows or keys one statement takes, so that few texts serve
// any number and each is prepared once.
var sizes = [...]int{32, 8, 1}

// An Insert writes several rows in few statements. Make it with NewInsert.
type Insert struct {
	columns int
	texts   [len(sizes)]string
}

// NewInsert takes what stands before VALUES, which ends with the columns in
// brackets, and what stands after the rows.
func NewInsert(head, tail string) *Insert {
	s := &Insert{columns: strings.Count(head[strings.Index(head, "("):], ",") + 1}
	for i, n := range sizes {
		s.texts[i] = head + " VALUES " + strings.Repeat(places(s.columns)+", ", n-1) + places(s.columns) + " " + tail
	}
	return s
}

func places(n int) string { return "(" + strings.Repeat("?, ", n-1) + "?)" }

// Exec inserts rows; args are their columns, one row after the other. It may do so
// Later.
func (s *Insert) Exec(c Conn, args []any) error {
	for i, n := range sizes {
		for n *= s.columns; len(args) >= n; args = args[n:] {
			if err := Later(c, s.texts[i], args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// In goes through many keys a few at a time: it calls do with places, which
// belongs behind an IN, and the arguments for it. A key may stand there twice.
func In[V any](vs []V, arg func(V) any, do func(places string, args []any) error) error {
	for len(vs) > 0 {
		n := sizes[0]
		for _, size := range sizes[1:] {
			if len(vs) <= size {
				n = size
			}
		}
		args := make([]any, n)
		for i := range args {
			args[i] = arg(vs[min(i, len(vs)-1)])
		}
		if err := do(places(n), args); err != nil {
			return err
		}
		vs = vs[min(n, len(vs)):]
	}
	return nil
}
