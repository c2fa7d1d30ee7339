package pool

import "slices"

// Receipts is for which ends receipts are written: one worker's setting, or what is to be expected
// of several.
type Receipts string

// The settings of a worker; its heartbeat holds one of them.
const (
	ReceiptsAll      Receipts = "all"
	ReceiptsFailures Receipts = "failures" // dead and cancelled
	ReceiptsOff      Receipts = "off"
)

// What several workers may be besides.
const (
	ReceiptsMixed   Receipts = "mixed"   // not all have the same setting
	ReceiptsUnknown Receipts = "unknown" // one of them does not say, as earlier versions do not
	ReceiptsNobody  Receipts = "nobody"  // there is no worker
)

// ReceiptsOf returns for which ends of an app's intents receipts are written, by what Workers
// returned. Without an appid it is about all workers.
func ReceiptsOf(workers []Worker, appID string) Receipts {
	serving := Serving(workers, appID)
	if len(serving) == 0 {
		return ReceiptsNobody
	}
	which := serving[0].Receipts
	for _, w := range serving {
		switch w.Receipts {
		case "":
			return ReceiptsUnknown
		case which:
		default:
			which = ReceiptsMixed
		}
	}
	return which
}

// Serving returns the workers that take an app's intents; without an appid of any app. One that is
// leaving takes none.
func Serving(workers []Worker, appID string) []Worker {
	return slices.DeleteFunc(slices.Clone(workers), func(w Worker) bool {
		return w.Leaving || appID != "" && !slices.Contains(w.Apps, appID)
	})
}
