//go:build faults

package faults

var upstreamRows []row

var upstreamNotRun []notRun
