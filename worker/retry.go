package worker

import "time"

// Retry is an app's schedule of attempts.
type Retry struct {
	Attempts int           // in all, the first included; 1..20
	First    time.Duration // pause after the first attempt
	Cap      time.Duration // longest pause
}

// retryPauses are the pauses of the contract, as multiples of the first: 1 s · 4 s ·
// 15 s · 1 min · 5 min. Further ones grow fivefold.
var retryPauses = [...]float64{1, 4, 15, 60, 300}

// delay is the pause after attempt number n, spread by ±20 % so that what
// failed together does not come back together.
func (r Retry) delay(n int, jitter float64) time.Duration {
	step := retryPauses[min(max(n, 1), len(retryPauses))-1]
	for i := len(retryPauses); i < n && step < 1e9; i++ {
		step *= 5
	}
	d := min(float64(r.First)*step, float64(r.Cap))
	return time.Duration(d * (0.8 + 0.4*jitter))
}
