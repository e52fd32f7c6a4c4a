package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// totals are what a server has seen.
type totals struct {
	connections, streams, received, mismatches, datagrams atomic.Uint64
}

func (t *totals) print() {
	printJSON(map[string]any{
		"connections": t.connections.Load(),
		"streams":     t.streams.Load(),
		"received":    t.received.Load(),
		"mismatches":  t.mismatches.Load(),
		"datagrams":   t.datagrams.Load(),
	})
}

// done is what a client has done.
type done struct {
	bytes, count, mismatches uint64
	latencies                []time.Duration
}

func (d *done) add(other *done) {
	d.bytes += other.bytes
	d.count += other.count
	d.mismatches += other.mismatches
	d.latencies = append(d.latencies, other.latencies...)
}

// watch takes time and CPU time from its start.
type watch struct {
	start time.Time
	cpu   float64
}

func startWatch() watch {
	return watch{cpu: cpuSeconds(), start: time.Now()}
}

// print prints the client's report; the work ends with the call.
func (w watch) print(d *done) {
	report := map[string]any{
		"seconds":     time.Since(w.start).Seconds(),
		"cpu_seconds": cpuSeconds() - w.cpu,
		"bytes":       d.bytes,
		"count":       d.count,
		"mismatches":  d.mismatches,
		"peak_memory": peakMemory(),
	}
	if len(d.latencies) > 0 {
		slices.Sort(d.latencies)
		at := func(q float64) float64 {
			rank := int(math.Ceil(float64(len(d.latencies)) * q))
			return float64(d.latencies[max(rank, 1)-1].Nanoseconds()) / 1e3
		}
		report["latency_us"] = map[string]float64{
			"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99_9": at(0.999), "max": at(1),
		}
	}
	printJSON(report)
}

func printJSON(value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // numbers only
	}
	fmt.Println(string(text))
}

// cpuSeconds is the CPU time of all threads of this process.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // of oneself it cannot fail
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// peakMemory is the largest resident memory in bytes, 0 if the system does not tell.
func peakMemory() uint64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return kib * 1024
		}
	}
	return 0
}
