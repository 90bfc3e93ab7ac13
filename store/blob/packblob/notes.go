package packblob

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

const (
	chunkMagic = "MKINDEX2"
	chunkHead  = 48
	noteSize   = 56
	noteHash   = 24 // where the hash is in a note
	// chunkStep is how far a segment grows between two chunks, and so how much
	// a start after a crash has to scan at most; chunkNotes bounds memory.
	chunkStep  = 4 << 20
	chunkNotes = 1 << 16
)

// A note is what an index file says about one record.
type note struct {
	kind   byte
	at     uint32
	record int64  // its size
	size   uint64 // of the blob; of a delete: the spot that is void
	stamp  int64
	hash   hash
	// Of damage that scan met.
	unread bool // the disk did not give some of it
	solid  bool // it is not what a write leaves that was never finished
}

func (n *note) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(n.record/8)<<8|uint32(n.kind))
	b = binary.LittleEndian.AppendUint32(b, n.at)
	b = binary.LittleEndian.AppendUint64(b, n.size)
	b = binary.LittleEndian.AppendUint64(b, uint64(n.stamp))
	return append(b, n.hash[:]...)
}

func decodeNote(b []byte) (n note) {
	what := binary.LittleEndian.Uint32(b)
	n = note{byte(what), binary.LittleEndian.Uint32(b[4:]), int64(what>>8) * 8, binary.LittleEndian.Uint64(b[8:]), int64(binary.LittleEndian.Uint64(b[16:])), hash{}, false, false}
	copy(n.hash[:], b[noteHash:])
	return n
}

func (n *note) void() spot { return spot{uint32(n.size), uint32(n.size >> 32)} }

func (s spot) pack() uint64 { return uint64(s.seg) | uint64(s.at)<<32 }

// A chunk is a part of an index file: notes on the records between two offsets of
// a segment. The last of a segment that is complete says so.
type chunk struct {
	tag      tag
	from, to int64
	count    int
	sealed   bool
	sum      uint32 // of the notes
}

func (c *chunk) encode(notes []byte) []byte {
	b := make([]byte, chunkHead, chunkHead+len(notes))
	copy(b, chunkMagic)
	copy(b[8:], c.tag[:])
	binary.LittleEndian.PutUint64(b[16:], uint64(c.from))
	binary.LittleEndian.PutUint64(b[24:], uint64(c.to))
	binary.LittleEndian.PutUint32(b[32:], uint32(len(notes)/noteSize))
	if c.sealed {
		b[36] = 1
	}
	binary.LittleEndian.PutUint32(b[40:], checksum(notes))
	binary.LittleEndian.PutUint32(b[44:], checksum(b[:44]))
	return append(b, notes...)
}

func decodeChunk(b []byte) (c chunk, ok bool) {
	if len(b) < chunkHead || string(b[:8]) != chunkMagic || binary.LittleEndian.Uint32(b[44:]) != checksum(b[:44]) {
		return c, false
	}
	c = chunk{
		tag(b[8:16]), int64(binary.LittleEndian.Uint64(b[16:])), int64(binary.LittleEndian.Uint64(b[24:])),
		int(binary.LittleEndian.Uint32(b[32:])), b[36] == 1, binary.LittleEndian.Uint32(b[40:]),
	}
	return c, c.from >= blockSize && c.to >= c.from && c.to <= 1<<34 && c.count <= chunkNotes
}

// readChunk reads the chunk at an offset and the bytes of its notes, into buf if they
// fit. It returns false if there is no good one, and an error only of reading.
func readChunk(f io.ReaderAt, off int64, buf []byte) (c chunk, notes []byte, ok bool, err error) {
	var head [chunkHead]byte
	if err := readFull(f, head[:], off); err != nil {
		return c, nil, false, eofIsNil(err)
	}
	if c, ok = decodeChunk(head[:]); !ok {
		return c, nil, false, nil
	}
	notes = slices.Grow(buf[:0], c.count*noteSize)[:c.count*noteSize]
	if err := readFull(f, notes, off+chunkHead); err != nil {
		return c, nil, false, eofIsNil(err)
	}
	return c, notes, checksum(notes) == c.sum, nil
}

func leUint64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func readFull(f io.ReaderAt, b []byte, off int64) error {
	if n, err := f.ReadAt(b, off); n < len(b) {
		return err
	}
	return nil
}

func eofIsNil(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// A notebook writes the index file of a segment, chunk after chunk. What is not
// written yet is in memory. After an error it is of no more use, and the index is
// made again by a scan.
type notebook struct {
	fs   vfs.FS
	path string
	tag  tag

	f     vfs.File // nil before the first chunk
	off   int64    // where the next chunk goes
	upTo  int64    // what part of the segment the chunks before tell about
	notes []byte
	err   error
}

func (n *notebook) add(x note) {
	if n.err == nil {
		n.notes = x.append(n.notes)
	}
}

// due says whether a chunk should be written for a segment that ends at end.
func (n *notebook) due(end int64) bool {
	return end-n.upTo >= chunkStep || len(n.notes) >= chunkNotes/2*noteSize
}

// write writes a chunk. It is not synced: what is lost or torn is scanned again.
func (n *notebook) write(end int64, sealed bool) error {
	if n.err != nil {
		return n.err
	}
	if n.f == nil {
		flag := os.O_RDWR | os.O_CREATE
		if n.off == 0 {
			flag |= os.O_TRUNC
		}
		if n.f, n.err = n.fs.OpenFile(n.path, flag, 0o600); n.err != nil {
			n.f = nil
			return n.err
		}
	}
	for first := true; n.err == nil && (first || len(n.notes) > 0); first = false {
		part := n.notes[:min(len(n.notes), chunkNotes*noteSize)]
		to := end
		if len(part) < len(n.notes) {
			to = decodeAt(n.notes[len(part):])
		}
		b := (&chunk{tag: n.tag, from: n.upTo, to: to, sealed: sealed && to == end}).encode(part)
		if _, n.err = n.f.WriteAt(b, n.off); n.err == nil {
			n.off += int64(len(b))
			n.upTo, n.notes = to, n.notes[len(part):]
		}
	}
	if n.notes = n.notes[:len(n.notes):len(n.notes)]; len(n.notes) == 0 {
		n.notes = nil
	}
	return n.err
}

// decodeAt is where the first record stands that notes are about.
func decodeAt(notes []byte) int64 { return int64(binary.LittleEndian.Uint32(notes[4:])) * 8 }

func (n *notebook) sync() error {
	if n.err == nil && n.f != nil {
		n.err = n.f.Sync()
	}
	return n.err
}

func (n *notebook) close() {
	if n.f != nil {
		_ = n.f.Close()
		n.f = nil
	}
}
