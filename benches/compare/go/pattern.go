package main

import (
	"bytes"
	"encoding/binary"
)

// The bytes of a transfer, which show one in the wrong place: those of `tquic perf`.
const (
	// Bytes after which the pattern repeats: a prime, so that no packet size divides it.
	period = 65537
	// A piece may cross this many periods: large writes, in a block that a second-level cache holds.
	periods = 4
)

var block = func() []byte {
	state := uint64(0x71571c0000000001)
	one := make([]byte, 0, period+8)
	for len(one) < period {
		// splitmix64 (Steele, Lea, Flood 2014)
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb
		one = binary.LittleEndian.AppendUint64(one, z^(z>>31))
	}
	return bytes.Repeat(one[:period], periods)
}()

// piece gives the pattern at offset: at most max bytes, and at least the smaller of max and three periods.
func piece(offset, max uint64) []byte {
	rest := block[offset%period:]
	if uint64(len(rest)) > max {
		rest = rest[:max]
	}
	return rest
}

// checker compares what comes with the pattern.
type checker struct {
	offset, mismatches uint64
}

func (c *checker) check(data []byte) {
	for len(data) > 0 {
		now := data[:min(len(data), period)]
		phase := c.offset % period
		expected := block[phase : phase+uint64(len(now))]
		if !bytes.Equal(now, expected) {
			for i := range now {
				if now[i] != expected[i] {
					c.mismatches++
				}
			}
		}
		c.offset += uint64(len(now))
		data = data[len(now):]
	}
}
