// Package campaign has the pool send a file of recipients, once each, however often anybody is
// interrupted.
//
// A command uploads the rows of a file, checked and rendered, in numbered chunks to KEFU_CAMPAIGN
// (store.go), and then orders the campaign (order.go): a record under its name, and a job
// ([job.KindCampaign]) whose id is that of the upload. From then on the command may go away. One
// worker of the pool feeds the rows into the app's queue (feed.go, carry.go), about as fast as they
// are sent (window.go): what is not fed yet can be paused and cancelled at once, and campaigns share
// an app without standing in each other's way. It halts by itself when too many of the first sends
// die (trial.go).
//
// Two things make it safe to go on after any end. An intent's id follows from app, campaign and
// recipient, so feeding it again is a repeat, which the broker and the ledger recognise. And a job
// writes each step down before it begins it, and counts it by one conditional write. A step that
// was cut off longer ago than repeats are recognised halts the campaign instead of being done again.
//
// Where a campaign stands (status.go) follows from its record, its job, the queue, and the ends that
// the ledger counts. A campaign that was published straight to the queue has only the latter two.
// A cancel is an order that workers obey at once (package withdrawal); the pool ends what is queued
// (cancel.go, sweep.go). The rows stay for some days after the end, for a report of what became of
// each (report.go, tidy.go); a person can be taken out of them at any time (forget.go).
//
//	p, err := campaign.Foresee(ctx, conn, "wx1", "double-11")
//	u, err := campaign.NewUpload(conn, "wx1", "double-11")
//	err = p.Announce(ctx, conn, terms, u)
//	closed, err := campaign.Fill(ctx, reader, u, campaign.Filling{Skip: p.Skip()})
//	err = p.Order(ctx, conn, terms, file, u)
//	...
//	status, err := campaign.ReadStatus(ctx, conn, "wx1", "double-11")
package campaign
