// Package campaign turns a file of recipients into published bulk intents, once each, however often
// it is interrupted.
//
// A file is CSV or NDJSON and is read as a stream, twice: first all of it is checked, then it is
// published. What is published is what was checked, however the file changes in between
// (snapshot.go). A template is a packet with {{column}} in its strings. Two things make it safe to
// go on after any end: an intent's id follows from app, campaign and recipient, so publishing it
// again is a repeat; and a record in the bucket KEFU_JOB says up to which row the broker has
// acknowledged everything. The checkpoint moves at the acknowledgement, never when a row is read:
// what was read only would be skipped after a crash. A repeat is recognised as long as the ledger
// remembers the id; the record says how many rows behind the checkpoint a run that was killed may
// have published (Record.MayDouble).
//
//	template, err := campaign.ParseTemplate(
//		[]byte(`{"msgtype":"text","text":{"content":"{{name}}，您好"}}`))
//	...
//	job := campaign.Job{AppID: "wx1", Campaign: "double-11", Source: source, Template: template}
//	summary, err := job.Check(ctx)
//	...
//	result, err := job.Start(ctx, campaign.Options{Conn: conn, Queue: queue, Summary: &summary})
package campaign
