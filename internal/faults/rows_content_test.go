//go:build faults

package faults

var contentRows []row
