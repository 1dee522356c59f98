"""The public name of `sclip_plugin.loss.transport`: entropic optimal transport by Sinkhorn's iterations."""

from sclip_plugin.loss.transport import Transport, sinkhorn, transport_plan

__all__ = ["Transport", "sinkhorn", "transport_plan"]
