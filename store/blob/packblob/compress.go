package packblob

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// leastPacked is from how many bytes on a blob is compressed.
const leastPacked = 256

// A codec compresses pieces of at most maxSmall bytes, each by itself. What it needs
// is made when it is used first.
type codec struct {
	encOnce, decOnce sync.Once
	enc              *zstd.Encoder
	dec              *zstd.Decoder
	encErr, decErr   error
}

// pack returns b compressed, behind what is in dst, and false if that would not save
// a tenth.
func (c *codec) pack(dst, b []byte) ([]byte, bool, error) {
	if len(b) < leastPacked {
		return dst, false, nil
	}
	c.encOnce.Do(func() {
		c.enc, c.encErr = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)),
			zstd.WithWindowSize(largeBlock), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	})
	if c.encErr != nil {
		return dst, false, c.encErr
	}
	out := c.enc.EncodeAll(b, dst)
	if n := len(out) - len(dst); n > len(b)-len(b)/10 {
		return dst, false, nil
	}
	return out, true, nil
}

// unpack returns what b was made from, in the room of dst. Other bytes, and more than
// there is room, are errWrong.
func (c *codec) unpack(dst, b []byte) ([]byte, error) {
	c.decOnce.Do(func() {
		c.dec, c.decErr = zstd.NewReader(nil, zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(2*maxSmall), zstd.WithDecodeAllCapLimit(true))
	})
	if c.decErr != nil {
		return nil, c.decErr
	}
	out, err := c.dec.DecodeAll(b, dst[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWrong, err)
	}
	return out, nil
}
