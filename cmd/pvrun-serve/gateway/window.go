package gateway

import (
	"math"
	"sync"
	"time"
)

// window knows the latencies of the last minute, by second.
type window struct {
	mu      sync.Mutex
	seconds [span]second
}

const (
	span   = 60 // seconds
	recent = 10 // of these, that percentiles are of
)

// second is what has ended in one second.
type second struct {
	at      int64 // Unix time
	count   uint32
	errors  uint32
	ran     uint32
	buckets [bucketCount]uint32
}

// Buckets of latencies grow by an eighth of an octave from a microsecond on: a
// percentile is right to some 5 %.
const (
	perOctave   = 8
	bucketCount = 28*perOctave + 1 // up to four minutes
)

func bucket(d time.Duration) int {
	i := int(perOctave * math.Log2(max(1, float64(d)/float64(time.Microsecond))))
	return min(i, bucketCount-1)
}

// middle is a latency in a bucket.
func middle(bucket int) time.Duration {
	return time.Duration(math.Exp2((float64(bucket)+0.5)/perOctave) * float64(time.Microsecond))
}

// add counts an invocation that has ended; took is negative where nothing has run.
func (w *window) add(now time.Time, took time.Duration, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.second(now.Unix())
	s.count++
	if failed {
		s.errors++
	}
	if took >= 0 {
		s.ran++
		s.buckets[bucket(took)]++
	}
}

// second is that of a time, empty if it has just begun.
func (w *window) second(at int64) *second {
	s := &w.seconds[at%span]
	if s.at != at {
		*s = second{at: at}
	}
	return s
}

// recentView is what a window shows.
type recentView struct {
	Rate     float64 // invocations a second
	Errors   float64 // likewise
	P50, P99 time.Duration
	Counts   []uint32 // in each of the last seconds, the latest last
}

// view looks at the seconds that are over.
func (w *window) view(now time.Time) (v recentView) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum second
	v.Counts = make([]uint32, span-1)
	for i := range v.Counts {
		ago := int64(len(v.Counts) - i)
		s := w.second(now.Unix() - ago)
		v.Counts[i] = s.count
		if ago > recent {
			continue
		}
		sum.count += s.count
		sum.errors += s.errors
		sum.ran += s.ran
		for b, n := range s.buckets {
			sum.buckets[b] += n
		}
	}
	v.Rate, v.Errors = float64(sum.count)/recent, float64(sum.errors)/recent
	v.P50, v.P99 = sum.percentile(0.5), sum.percentile(0.99)
	return v
}

// percentile is the latency that so many of all do not exceed; 0 when there is none.
func (s *second) percentile(p float64) time.Duration {
	if s.ran == 0 {
		return 0
	}
	left := int(math.Ceil(p * float64(s.ran)))
	for b, n := range s.buckets {
		if left -= int(n); left <= 0 {
			return middle(b)
		}
	}
	return middle(bucketCount - 1)
}
