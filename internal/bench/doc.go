// Package bench measures what kefu does with a load: `kefu bench`.
//
// A Load is what is offered: apps, recipients, a backlog that waits before the start, a stream that
// is offered at a rate, and an API that is slow, busy or broken. A Contender takes it: kefu, as
// worker processes of the very binary, or the bare loop, which is what somebody would write by hand
// for the same job. Both are processes of their own, so that the figures of one are nobody else's;
// the broker is one too, while the sandbox and the load run here.
//
// A run is one load taken by one contender, on a broker and a sandbox of its own. Contenders take
// turns, in rounds, each round in the opposite order of the one before it: the speed of a machine
// drifts, and ratios of one round say more than figures of two. What came in and when is the
// sandbox's record, which is the only witness: rate, latency (publisher and sandbox share a clock),
// budget, and how often each intent was delivered are computed from it alone.
//
//	b := bench.Bench{Program: path, Environ: os.Environ()}
//	report, err := b.Run(ctx, []bench.Contender{
//		{Name: "kefu", Load: load},
//		{Name: "bare loop", Bare: true, Load: load},
//	}, 3)
package bench
