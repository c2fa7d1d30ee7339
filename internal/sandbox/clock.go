package sandbox

import "time"

// now returns the sandbox's time: the machine's, and as much later as it was told to be.
func (s *Sandbox) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// Advance puts the sandbox's clock forward: tokens, reply windows, typing and quotas grow old at
// once, without anybody waiting. There is no way back.
func (s *Sandbox) Advance(d time.Duration) {
	if d < 0 {
		panic("sandbox: the clock goes forward only")
	}
	s.ahead.Add(int64(d))
	s.tell(Event{Kind: Changed})
}
