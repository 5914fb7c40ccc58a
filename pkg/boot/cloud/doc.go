// Package cloud joins package boot with the platform on Google Cloud, so that
// the mains of the services only build their service.
//
// It guarantees nothing of its own. It is apart from package boot because that
// knows no platform: its tests run on a directory.
package cloud
