// Package wire holds what travels between the parts of kefu and is no producer's business: the
// JetStream objects of its own, the subjects and message ids it writes under, and the headers of an
// intent that it publishes again.
//
// What producers publish and read back is in package schema. This package adds to it and is the
// only place that knows both halves: a [Subject] is a producer's or one on kefu.again, an
// [Envelope] is a producer's headers with kefu's own.
package wire
