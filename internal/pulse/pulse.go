// Package pulse is the last hour of each app, minute by minute, as the workers saw it.
package pulse
