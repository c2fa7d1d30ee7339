// Package wire holds what travels between the parts of kefu and is no producer's business: the
// JetStream objects of its own, the subjects and message ids it writes under, the headers of an
// intent that it publishes again, and the writing of dead letters.
//
// What producers publish and read back is in package schema. This package adds to it and is the
// only place that knows both halves: a [Subject] is a producer's or one on kefu.again, an
// [Envelope] is a producer's headers with kefu's own. schema reads a letter; [SetPacket] and
// [SetHeader] write one. schema reads a valid packet; [PeekToUser] looks into any.
package wire
