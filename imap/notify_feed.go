package imap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mailkeel/mailkeel/store"
)

// A listing is the mailboxes that an account can see at one moment, by ID: its own
// and those of others. It never changes, and the next one shares what is the same,
// so that a session which is told late costs the difference only.
type listing struct {
	boxes []*listed
	own   *entryLog // of the account itself
}

// A listed is a mailbox of a listing.
type listed struct {
	store.Folder
	entries *entryLog
}

// An entryLog is which entries of metadata changed last, the latest at the end. It
// never changes. Nil is that none did since somebody wanted to know.
type entryLog struct {
	changes []store.MetadataChange
}

// maxEntryLog is how many changes are known of one mailbox.
const maxEntryLog = 50

func (e *entryLog) with(c store.MetadataChange) *entryLog {
	if e == nil {
		e = &entryLog{}
	}
	from := max(0, len(e.changes)+1-maxEntryLog)
	return &entryLog{append(slices.Clone(e.changes[from:]), c)}
}

// since returns the names of what changed after old.
func (e *entryLog) since(old *entryLog) (names []string) {
	var after store.ModSeq
	if old != nil {
		after = old.changes[len(old.changes)-1].ModSeq
	}
	if e != nil && e != old {
		for _, c := range e.changes {
			if c.ModSeq > after && !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	return names
}

// find returns the mailbox with an ID, or nil.
func (l *listing) find(id store.MailboxID) *listed {
	if i, ok := slices.BinarySearchFunc(l.boxes, id, byID); ok {
		return l.boxes[i]
	}
	return nil
}

func byID(f *listed, id store.MailboxID) int {
	switch {
	case f.ID < id:
		return -1
	case f.ID > id:
		return 1
	}
	return 0
}

// with returns the listing after changes of an account's own mailboxes, in which
// tombstones are deleted, with what it shares now, and after changes of metadata; l
// if all is the same. Unless changed is all that there is, own mailboxes not in it
// stay.
func (l *listing) with(account store.AccountID, changed, shared []store.Folder, all bool, meta []store.MetadataChange) *listing {
	next := make([]*listed, 0, len(l.boxes)+len(changed))
	own := l.own
	logs := map[store.MailboxID]*entryLog{}
	for _, c := range meta {
		log, known := logs[c.Mailbox]
		if old := l.find(c.Mailbox); !known && old != nil {
			log = old.entries
		}
		if c.Mailbox == 0 {
			own = own.with(c)
		} else {
			logs[c.Mailbox] = log.with(c)
		}
	}
	keep := func(f *store.Folder) {
		old := l.find(f.ID)
		is := &listed{*f, logs[f.ID]}
		if old != nil && is.entries == nil {
			is.entries = old.entries
		}
		if old != nil && *old == *is {
			is = old
		}
		next = append(next, is)
	}
	if !all {
		is := make(map[store.MailboxID]bool, len(changed))
		for i := range changed {
			is[changed[i].ID] = true
		}
		for _, f := range l.boxes {
			if f.Account == account && !is[f.ID] {
				keep(&f.Folder)
			}
		}
	}
	for _, fs := range [][]store.Folder{changed, shared} {
		for i := range fs {
			if !fs[i].Deleted {
				keep(&fs[i])
			}
		}
	}
	slices.SortFunc(next, func(a, b *listed) int { return byID(a, b.ID) })
	if own == l.own && slices.Equal(next, l.boxes) {
		return l
	}
	return &listing{next, own}
}

// diff calls fn for each mailbox that is not the same in both. Either may be nil,
// but not both.
func (l *listing) diff(is *listing, fn func(old, new *listed)) {
	a, b := l.boxes, is.boxes
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].ID < b[0].ID:
			fn(a[0], nil)
			a = a[1:]
		case len(a) == 0 || b[0].ID < a[0].ID:
			fn(nil, b[0])
			b = b[1:]
		default:
			if a[0] != b[0] {
				fn(a[0], b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
}

// A feed keeps the listing of an account up to date for all its sessions that want
// to be notified: one goroutine reads, however many there are.
type feed struct {
	access *store.Access

	mu     sync.Mutex // held while reading
	now    store.ModSeq
	shared []store.Folder
	meta   map[store.AccountID]store.ModSeq // up to where entries were read
	cur    atomic.Pointer[listing]

	metadata atomic.Bool // some session wants to know of entries

	refs int // guarded by feeds.mu

	waiting sync.Mutex
	conns   map[*conn]struct{}
	quit    chan struct{}
}

// refresh moves the listing to what is now, and returns that.
func (f *feed) refresh(ctx context.Context) (*listing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.cur.Load()
	all := old == nil
	if all {
		old = &listing{}
	}
	changed, now, err := f.access.FoldersSince(ctx, f.now)
	if errors.Is(err, store.ErrHorizon) {
		all = true
		changed, now, err = f.access.FoldersSince(ctx, 0)
	}
	if err != nil {
		return nil, err
	}
	shared, err := f.access.Shared(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := f.entries(ctx, shared)
	if err != nil {
		return nil, err
	}
	next := old.with(f.access.Account(), changed, shared, all, entries)
	f.now, f.shared = now, shared
	f.cur.Store(next)
	return next, nil
}

// entries reads which metadata changed, in the account and in those of what is shared
// with it.
func (f *feed) entries(ctx context.Context, shared []store.Folder) (out []store.MetadataChange, err error) {
	if !f.metadata.Load() {
		return nil, nil
	}
	next := map[store.AccountID]store.ModSeq{}
	read := func(owner store.AccountID) error {
		if _, done := next[owner]; done {
			return nil
		}
		cs, now, err := f.access.MetadataSince(ctx, owner, f.meta[owner])
		next[owner] = now
		out = append(out, cs...)
		return err
	}
	err = read(f.access.Account())
	for i := 0; i < len(shared) && err == nil; i++ {
		err = read(shared[i].Account)
	}
	if err != nil {
		return nil, err
	}
	f.meta = next
	return out, nil
}

func (f *feed) safeRefresh() (l *listing, err error) {
	defer func() {
		if p := recover(); p != nil {
			l, err = nil, fmt.Errorf("imap: panic: %v", p)
		}
	}()
	return f.refresh(context.Background())
}

// join has c woken when something changes.
func (f *feed) join(c *conn) {
	f.waiting.Lock()
	defer f.waiting.Unlock()
	f.conns[c] = struct{}{}
}

func (f *feed) leave(c *conn) {
	f.waiting.Lock()
	defer f.waiting.Unlock()
	delete(f.conns, c)
}

// feeds are those of a server, by account.
type feeds struct {
	mu   sync.Mutex
	open map[store.AccountID]*feed
	wg   *sync.WaitGroup
}

// get returns the feed of a session's account, as it is now. Each get is followed by
// a put.
func (fs *feeds) get(ctx context.Context, c *conn, metadata bool) (*feed, *listing, error) {
	fs.mu.Lock()
	f := fs.open[c.account]
	if f == nil {
		f = &feed{access: c.access, conns: map[*conn]struct{}{}, quit: make(chan struct{})}
		if fs.open == nil {
			fs.open = map[store.AccountID]*feed{}
		}
		fs.open[c.account] = f
		fs.wg.Add(1)
		go fs.follow(f, c.srv)
	}
	f.refs++
	fs.mu.Unlock()
	var l *listing
	defer func() { // also if the backend panics
		if l == nil {
			fs.put(f)
		}
	}()
	if metadata {
		f.metadata.Store(true)
	}
	l, err := f.refresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	return f, l, nil
}

func (fs *feeds) put(f *feed) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.refs--; f.refs == 0 {
		close(f.quit)
		delete(fs.open, f.access.Account())
	}
}

// follow reads at each hint, and wakes the sessions if something has changed.
func (fs *feeds) follow(f *feed, srv *Server) {
	defer fs.wg.Done()
	var told *listing
	for {
		f.mu.Lock()
		shared := f.shared
		f.mu.Unlock()
		wake, stop := f.access.WakeFolders(shared)
		for again := false; !again; {
			now, err := f.safeRefresh()
			switch {
			case err != nil:
				srv.logger().Error("imap: reading the mailboxes for NOTIFY", "err", err)
			case now != told:
				told = now
				f.waiting.Lock()
				for c := range f.conns {
					c.low.Wake()
				}
				f.waiting.Unlock()
			}
			f.mu.Lock()
			again = err == nil && !sameOwners(shared, f.shared)
			f.mu.Unlock()
			if again {
				break
			}
			select {
			case <-wake:
			case <-f.quit:
				stop()
				return
			}
		}
		stop()
	}
}

// sameOwners reports whether every owner of b is one of a.
func sameOwners(a, b []store.Folder) bool {
	for i := range b {
		if !slices.ContainsFunc(a, func(f store.Folder) bool { return f.Account == b[i].Account }) {
			return false
		}
	}
	return true
}
