package campaign

import "time"

const (
	// keepUpload is for how long the rows are kept of a file whose upload was not ended.
	keepUpload = 24 * time.Hour

	// keepRows is for how long the rows of a campaign that has ended are kept, for a report.
	keepRows = 7 * 24 * time.Hour
)
