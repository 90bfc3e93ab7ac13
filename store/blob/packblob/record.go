package packblob

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"

	"github.com/mailkeel/mailkeel/store/blob"
)

const (
	headerSize = 64
	blockSize  = 4096    // batches begin at multiples of it, so none is written twice
	maxBatch   = 1 << 20 // bytes of records that share a write and a sync
	maxSmall   = 512 << 10
)

// Kinds of records; damaged ones stand in index files only.
const (
	kindBlob        = 1 // the payload is the blob
	kindLarge       = 2 // the payload is the length and the block sums of a file
	kindTouch       = 3 // no payload: the blob is young at the stamp
	kindDelete      = 4 // the payload is where the record stands that is void
	kindDamaged     = 5
	kindPacked      = 6 // the payload is the length and the compressed blob
	kindPackedLarge = 7 // as large, of a file of compressed blocks

	flagFirst = 1 // of its batch
)

func isLarge(kind byte) bool  { return kind == kindLarge || kind == kindPackedLarge }
func isPacked(kind byte) bool { return kind == kindPacked || kind == kindPackedLarge }
func isBlob(kind byte) bool   { return kind == kindBlob || kind == kindPacked || isLarge(kind) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

type hash [32]byte

func (h hash) ref() blob.Ref {
	var b [71]byte
	copy(b[:], "sha256-")
	hex.Encode(b[7:], h[:])
	return blob.Ref(b[:])
}

// parseRef returns false for what is no name of a blob.
func parseRef(ref blob.Ref) (h hash, ok bool) {
	s, ok := strings.CutPrefix(string(ref), "sha256-")
	if !ok || len(s) != 2*len(h) {
		return h, false
	}
	for i := range h {
		high, low := hexValue(s[2*i]), hexValue(s[2*i+1])
		if high|low > 15 {
			return hash{}, false
		}
		h[i] = high<<4 | low
	}
	return h, true
}

// hexValue is the value of a digit, of which letters are small, and 255 of all else.
func hexValue(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// A tag is random for each segment and begins each of its records. Without it the
// sender of a message could forge records inside of it, which a scan behind
// damaged bytes would take for ours.
type tag [8]byte

// record is the header of one. See the package's documentation.
type record struct {
	kind   byte
	first  bool
	length uint32 // of the payload
	stamp  int64  // nanoseconds since 1970
	hash   hash
	sum    uint32 // of the payload
}

func align(n, to int64) int64 { return (n + to - 1) / to * to }

// recordSize is what a record with a payload of n bytes takes.
func recordSize(n int64) int64 { return align(headerSize+n, 8) }

func (r *record) encode(b []byte, t tag) {
	_ = b[headerSize-1]
	copy(b, t[:])
	b[8], b[9], b[10], b[11] = r.kind, 0, 0, 0
	if r.first {
		b[9] = flagFirst
	}
	binary.LittleEndian.PutUint32(b[12:], r.length)
	binary.LittleEndian.PutUint64(b[16:], uint64(r.stamp))
	copy(b[24:], r.hash[:])
	binary.LittleEndian.PutUint32(b[56:], r.sum)
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
}

// decodeRecord returns false for bytes that are not a whole header of ours.
func decodeRecord(b []byte, t tag) (r record, ok bool) {
	if len(b) < headerSize || !bytes.Equal(b[:8], t[:]) || binary.LittleEndian.Uint32(b[60:]) != checksum(b[:60]) {
		return r, false
	}
	r = record{
		kind: b[8], first: b[9] == flagFirst, length: binary.LittleEndian.Uint32(b[12:]),
		stamp: int64(binary.LittleEndian.Uint64(b[16:])), sum: binary.LittleEndian.Uint32(b[56:]),
	}
	copy(r.hash[:], b[24:])
	good := b[9]&^flagFirst == 0 && b[10] == 0 && b[11] == 0
	switch r.kind {
	case kindBlob, kindTouch:
	case kindLarge, kindPacked, kindPackedLarge:
		good = good && r.length >= 8
	case kindDelete:
		good = good && r.length == 8
	default:
		good = false
	}
	return r, good && recordSize(int64(r.length)) <= maxBatch
}

// spot is where a record stands.
type spot struct {
	seg uint32
	at  uint32 // offset divided by 8
}

func (s spot) off() int64 { return int64(s.at) * 8 }

func (s spot) encode() []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, s.seg), s.at)
}

func decodeSpot(b []byte) spot {
	return spot{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
}

// The first block of a segment holds its tag twice, a half block apart: magic,
// tag, checksum of both.
const segmentMagic = "MKPACK1\n"

func encodeSegmentHead(t tag) []byte {
	b := make([]byte, blockSize)
	for _, at := range []int{0, blockSize / 2} {
		copy(b[at:], segmentMagic)
		copy(b[at+8:], t[:])
		binary.LittleEndian.PutUint32(b[at+16:], checksum(b[at:at+16]))
	}
	return b
}

func decodeSegmentHead(b []byte) (t tag, ok bool) {
	for _, at := range []int{0, blockSize / 2} {
		if len(b) < at+20 {
			break
		}
		if string(b[at:at+8]) == segmentMagic && binary.LittleEndian.Uint32(b[at+16:]) == checksum(b[at:at+16]) {
			return tag(b[at+8 : at+16]), true
		}
	}
	return t, false
}
