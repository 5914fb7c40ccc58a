package pubsubbus

// Project is the project of a driver that a test opened.
func (d *Driver) Project() string { return d.project }
