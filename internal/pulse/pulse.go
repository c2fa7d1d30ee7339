// Package pulse is the last hour of each app, minute by minute, as the workers saw it: what ended,
// how many calls were made, and how long both took.
//
//	histogram.go  PURE: durations in buckets that all workers share, so that they can be added up
//	record.go     what one worker counts; a few dozen nanoseconds for each intent
//	code.go       PURE: what it writes down, as bytes
//	keep.go       the one key of each worker in KEFU_STATE, and when it is written
//	read.go       adds up all workers
//
// Counts are kept by the minute, durations by blocks of five minutes. Both begin by the wall clock
// of the worker: where clocks disagree by seconds, so do the minutes. A key stays for a while when
// its worker is gone. Nothing here is needed for sending, and nothing of it waits for this; what a
// worker saw within its last few seconds is lost when it is killed.
package pulse

import "time"

const (
	// Minutes is how many points an hour has.
	Minutes = 60

	blockMinutes = 5                        // of a block
	blocks       = Minutes/blockMinutes + 1 // that an hour touches
	keyPrefix    = "pulse."                 // and the worker's name
	keyTTL       = (Minutes + 10) * time.Minute
)

func minuteOf(at time.Time) int64 { return at.Unix() / 60 }

func minuteAt(minute int64) time.Time { return time.Unix(minute*60, 0).UTC() }
